"""The queue on a FireWorks LaunchPad, and the workers that run its jobs."""
