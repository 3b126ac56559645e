"""Objects followed through videos: the loop around track queries, and association by overlap."""
