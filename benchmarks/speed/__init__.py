"""How fast: each module measures one thing, as ratios taken side by side in one run."""
