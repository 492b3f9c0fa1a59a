//! Images: the content store and what is made of it (being written in its own files).
