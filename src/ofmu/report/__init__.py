"""Evidence a person can read: one offline HTML page for a run, and tables in the terminal."""
