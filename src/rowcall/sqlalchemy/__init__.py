"""Where SQLAlchemy users meet Rowcall."""
