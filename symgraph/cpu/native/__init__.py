"""Machine code in this process: made, kept on disk, loaded; its memory and its threads."""
