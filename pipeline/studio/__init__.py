"""The studio: a local web page on which faces are reconstructed, edited, mixed and drawn.

`recipe` is a picture as a value, `studio` paints it, `uploads` reads photos, `server` answers the
page in `page/`.  The page holds the recipe and sends it whole: the server keeps nothing of anybody.
"""
