"""The report's figures: one module per group, one function per figure."""
