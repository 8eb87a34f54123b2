"""jobflow Makers and jobs; they return documents and never open the database."""
