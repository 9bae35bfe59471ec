"""What a step of a recipe costs here, part by part; `raykd bench` shows it.

It runs the real loop and imports nothing of launch.
"""
