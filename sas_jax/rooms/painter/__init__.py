"""The small diffusion model of the rooms: training, sampling, quality."""
