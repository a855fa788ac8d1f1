"""Code that lies in the tiny checkpoint of QWen, as the code of its authors lies in theirs; copied, not imported."""
