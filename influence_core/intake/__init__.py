"""Data and models from users: uploads, previews, trials."""
