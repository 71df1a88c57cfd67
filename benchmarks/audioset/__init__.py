"""Real results: every pooling family on AudioSet, and what is made of them."""
