"""What a person brings: uploads, previews, trials."""
