"""What the service does: projects and samples, models, jobs, and the predicting itself."""
