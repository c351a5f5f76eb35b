"""`uvicorn app.main:app`: the one module that reads the environment at import."""

from app.application import create_app
from app.settings import Settings

app = create_app(Settings())
