"""`python -m dev.asyncapi`: write the document and its page anew."""

from dev.asyncapi.files import made

for path, text in made().items():
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}")
