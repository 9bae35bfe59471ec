"""What is a picture, a label, and a folder of them: decided here, once for all sources.

Sources call it to list and to number, the writer to decode. It knows no source and imports none.
"""
