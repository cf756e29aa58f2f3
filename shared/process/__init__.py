"""Process set-up that edge and worker share. The published client does not contain this folder."""
