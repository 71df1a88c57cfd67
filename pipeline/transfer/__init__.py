"""Download and upload files: a transfer resumes, is verified, and names its file only when it is whole."""
