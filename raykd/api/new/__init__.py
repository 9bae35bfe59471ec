"""`raykd new`: a recipe for the user's images, from measurements on them and rules of thumb.

Called by commands.new; it reads data, methods and networks, and never trains.
"""
