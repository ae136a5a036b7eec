"""The market replay as environments: PettingZoo ParallelEnv and RLlib MultiAgentEnv."""
