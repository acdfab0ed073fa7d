"""A store that several machines share: what others measured is looked up before a job, and what was measured is put
there."""
