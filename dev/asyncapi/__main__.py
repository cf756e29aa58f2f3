"""`python -m dev.asyncapi`: generate the document and its page."""

from dev.asyncapi.files import made

for path, text in made().items():
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}")
