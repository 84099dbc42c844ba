"""What a scene is: points, frames, cameras, labels; images and PLY files in and out."""
