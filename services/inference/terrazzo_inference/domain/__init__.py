"""Pure code: windows, summaries, model descriptions. No IO, no clock."""
