"""A command a file: what it parses for, what it calls, what it prints."""
