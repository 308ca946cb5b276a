"""Everything that speaks SQL at run time."""
