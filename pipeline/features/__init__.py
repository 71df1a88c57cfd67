"""From files of pictures and sound to features of their frames: decoding, backbones, and what was made how."""
