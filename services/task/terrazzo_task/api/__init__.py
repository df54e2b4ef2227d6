"""HTTP in. One router a file."""

from terrazzo_task.api import batches, organisations, progress, projects, tasks

ROUTERS = (organisations.router, projects.router, batches.router, tasks.router, progress.router)
