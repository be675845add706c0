"""Training sets from clones of public repositories, in the form of the other sets.

``clones`` reads files of a commit, ``hashes`` recognises pictures that may not be trained on,
``sets`` says where pictures and labels are, ``unlabelled`` finds faces that nobody labelled, and
``write`` makes a folder with annotations.json and images.zip of them.
"""
