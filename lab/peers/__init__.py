"""The same guests by Lamplighter and by what else starts and stops them: ``make lab-bench``."""
