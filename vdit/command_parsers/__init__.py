"""Options of the commands, one file a command. Nothing heavy is imported here."""
