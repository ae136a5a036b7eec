"""Three cooperating trading agents, one centralized critic, one code path from bars to orders."""

__version__ = "0.1.0"
