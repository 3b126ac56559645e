"""Write rendered clips in the layouts of real data sets, so that real readers can read them."""
