"""A database view of a member as a door: its rows, page by page, become the CSV its maps read anyway."""
