"""How a run is written as data: its JSON, and JSON and CSV cell by cell. All of it may be imported from outside."""
