"""A page with nothing but a field for a file, served by `upload_app`."""

from __future__ import annotations

import streamlit as st

from core.db import read_only, scalar
from dashboard import actions, components, theme, upload

components.html(theme.style())
st.title("Catalogue")
app = actions.application()
with read_only(app.engine) as conn:
    shop_id = scalar(conn, "select shop_id from shops")
wanted = upload.Wanted("catalogue_import", "The supplier’s catalogue", (".csv", ".xlsx"), 50_000_000)
found = upload.draw(app, shop_id, "ada", wanted, "catalogue")
if found is None:
    st.write("No file yet.")
elif found.state == "stored":
    st.write(f"Document {found.document_id}: {found.file_name}, {found.bytes} bytes, {found.state}.")
    if st.button("Start anew"):
        upload.clear("catalogue")
        st.rerun()
if st.button("Run again"):
    st.write("It ran again.")
