"""`python -m gradio_app`; the Space starts a copy of this file."""

from gradio_app.app import main

if __name__ == "__main__":
    main()
