"""What users bring along, read from their files: models in their forms, wheels of releases."""
