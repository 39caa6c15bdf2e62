"""How the documentation is built. Nothing here needs a network."""

from importlib.metadata import version as installed_version

from docutils import nodes

project = "mne-hmm"
author = "The mne-hmm developers"
copyright = author  # noqa: A001  (Sphinx wants this name)
version = release = installed_version("mne-hmm")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinxcontrib.bibtex",
    "numpydoc",
]
exclude_patterns = ["_build", "_templates", "changes"]
templates_path = ["_templates"]
default_role = "py:obj"
bibtex_bibfiles = ["references.bib"]
autosummary_generate = True
autodoc_typehints = "none"  # types are in the docstrings
numpydoc_show_class_members = False  # the class template lists them

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_title = f"mne-hmm {release}"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}
html_copy_source = False

# Where MNE-Python's documentation has what docstrings refer to.
MNE = "https://mne.tools/stable"
MNE_LABELS = {"tut-logging": f"{MNE}/auto_tutorials/intro/50_configure_mne.html"}


def link_to_mne(app, env, node, content):
    """Link to MNE-Python's pages by their naming scheme, without asking for their inventory."""
    target = node["reftarget"]
    if node["refdomain"] == "std" and target in MNE_LABELS:
        uri = MNE_LABELS[target]
    elif node["refdomain"] == "py" and target.startswith("mne."):
        is_member = node["reftype"] in ("meth", "attr")
        page = target.rpartition(".")[0] if is_member else target
        uri = f"{MNE}/generated/{page}.html" + (f"#{target}" if is_member else "")
    else:
        return None
    return nodes.reference("", "", content, internal=False, refuri=uri)


def setup(app):
    """Register what is above."""
    app.connect("missing-reference", link_to_mne)
