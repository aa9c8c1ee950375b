"""The formats both sides of a process boundary share; imports nothing else of ours."""
