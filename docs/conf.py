"""How the documentation is built. It needs no network, and uses one where there is one."""

import os
import shutil
import tempfile
import urllib.request
from http.client import HTTPException
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

project = "mne-hmm"
author = "The mne-hmm developers"
copyright = author  # noqa: A001  (Sphinx wants this name)
version = release = installed_version("mne-hmm")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "numpydoc",
]
exclude_patterns = ["_build", "_templates", "changes", "auto_tutorials/*.ipynb"]
templates_path = ["_templates"]
default_role = "py:obj"
# Pages name functions without the package.
rst_prolog = ".. py:currentmodule:: mne_hmm\n"
bibtex_bibfiles = ["references.bib"]
autosummary_generate = True
autodoc_typehints = "none"  # types are in the docstrings
numpydoc_show_class_members = False  # the class template lists them
# The landing page names tutorials by their files, so no list of who uses what is needed.
suppress_warnings = ["sphinx_gallery.config"]
nitpicky = True
nitpick_ignore = [
    # The named tuple that StateTimeCourse.visits returns; its fields are told there.
    ("py:obj", "mne_hmm.states.visits.Visits"),
]

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
# Pages that have no pages below them need no list of these.
html_sidebars = {
    name: []
    for name in (
        "architecture",
        "changelog",
        "coming_from",
        "contributing",
        "design_history",
        "model",
        "numerics",
        "questions",
        "references",
        "releasing",
        "several_machines",
        "way_of_the_data",
    )
}
html_title = f"mne-hmm {release}"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}
html_copy_source = False


# Tutorials ---------------------------------------------------------------------------------------

# What tutorials write goes here, and is gone when the build is over.
TEMPORARY = tempfile.TemporaryDirectory()
tempfile.tempdir = TEMPORARY.name
os.environ["MNE_TQDM"] = "off"  # a progress bar is no picture


def use_real_eeg():
    """Have the runs of EEG ready for tutorials: those that are there, or fetched ones."""
    import mne

    if mne.get_config("MNE_DATASETS_EEGBCI_PATH"):
        return
    try:
        with urllib.request.urlopen("https://physionet.org", timeout=5):
            pass
        runs = [1, 2, 3, 7, 11]
        mne.datasets.eegbci.load_data(1, runs, path=TEMPORARY.name, update_path=False)
    except (OSError, HTTPException, RuntimeError, ValueError):
        return  # tutorials say what stands in for it
    os.environ["MNE_DATASETS_EEGBCI_PATH"] = TEMPORARY.name


use_real_eeg()


def has_published_models():
    """Tell whether the published model is there, among the test data or fetched."""
    from mne_hmm import datasets

    test_data = os.environ.get("MNE_HMM_TEST_DATA")
    if test_data and not os.environ.get("MNE_HMM_DATA"):
        cache = Path(TEMPORARY.name) / "cache"
        for source, place in (
            ("Canonical-HMM-Networks/models", "canonical-hmm/models"),
            ("parcellation", "parcellation/osl_dynamics/files/parcellation"),
        ):
            if (Path(test_data) / source).is_dir():
                shutil.copytree(Path(test_data) / source, cache / place)
        os.environ["MNE_HMM_DATA"] = str(cache)
    try:
        datasets.fetch_canonical_hmm("Giles38", 8)
        datasets.fetch_canonical_results("Giles38", 8)
        datasets.fetch_atlas("Giles38")
    except OSError:
        return False
    return True


# All tutorials are executed, but for the one whose files cannot be had: its page says so.
EXECUTED = r"[\\/]\d\d_\w+\.py$"
if not has_published_models():
    EXECUTED = r"[\\/](?!70_)\d\d_\w+\.py$"
    tags.add("without_published_models")  # noqa: F821  (Sphinx has it there)

sphinx_gallery_conf = {
    "examples_dirs": "../tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": EXECUTED,
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "image_scrapers": ("matplotlib",),
    "ignore_repr_types": r"matplotlib|<class 'list'>",  # what drawing returns
    "reset_modules": ("matplotlib",),
    "min_reported_time": 1e9,  # times differ from build to build
    "write_computation_times": False,
    "show_signature": False,
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}


# Other projects' pages ---------------------------------------------------------------------------

MNE = "https://mne.tools/stable"
JOBLIB = "https://joblib.readthedocs.io/en/stable"
SKLEARN = "https://scikit-learn.org/stable"

# What our pages refer to, for builds that cannot ask for the inventory.
PAGES = {
    "tut-logging": f"{MNE}/auto_tutorials/intro/50_configure_mne.html",
    "joblib": f"{JOBLIB}/",
    "joblib:joblib.parallel_config": f"{JOBLIB}/generated/joblib.parallel_config.html",
}


def fetched(url):
    """Fetch an inventory: Sphinx would count one that cannot be had as a fault of the pages."""
    fname = Path(TEMPORARY.name) / f"{url.split('/')[2]}.inv"
    try:
        with urllib.request.urlopen(f"{url}/objects.inv", timeout=5) as response:
            content = response.read()
    except (OSError, HTTPException):
        return None
    if not content.startswith(b"# Sphinx inventory"):
        return None  # a page that says why
    fname.write_bytes(content)
    return str(fname)


intersphinx_mapping = {
    name: (url, inventory)
    for name, url in (("mne", MNE), ("joblib", JOBLIB), ("sklearn", SKLEARN))
    if (inventory := fetched(url))
}


def link_elsewhere(app, env, node, content):
    """Link to pages of other projects by their naming scheme, where there is no inventory."""
    target = node["reftarget"]
    if target in PAGES:
        uri = PAGES[target]
    elif node.get("refdomain") == "py" and target.startswith("mne."):
        is_member = node["reftype"] in ("meth", "attr")
        page = target.rpartition(".")[0] if is_member else target
        uri = f"{MNE}/generated/{page}.html" + (f"#{target}" if is_member else "")
    elif node.get("refdomain") == "py" and target.startswith("sklearn."):
        uri = f"{SKLEARN}/modules/generated/{target}.html"
    else:
        return None
    return nodes.reference("", "", content, internal=False, refuri=uri)


# llms.txt ----------------------------------------------------------------------------------------


def title_and_summary(env, docname):
    """Title of a page, and its first paragraph in one line."""
    tree = env.get_doctree(docname)
    for number in list(tree.findall(nodes.footnote_reference)):
        number.parent.remove(number)
    title = env.titles[docname].astext()
    for paragraph in tree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if text and isinstance(paragraph.parent, (nodes.section, addnodes.desc_content)):
            return title, text
    return title, ""


def write_llms_txt(app, exception):
    """List all pages with what they are about, for programs that read documentation."""
    if exception is not None or app.builder.name != "html":
        return
    env = app.env
    _, summary = title_and_summary(env, "index")
    sections = {"Pages": [], "Tutorials": [], "Functions and classes": []}
    for docname in sorted(env.found_docs):
        if docname in ("index", "auto_tutorials/index"):
            continue
        folder = docname.partition("/")[0]
        section = {"auto_tutorials": "Tutorials", "generated": "Functions and classes"}.get(
            folder, "Pages"
        )
        title, text = title_and_summary(env, docname)
        line = f"- [{title}]({app.builder.get_target_uri(docname)})"
        sections[section].append(f"{line}: {text}" if text else line)
    parts = ["# mne-hmm", f"> {summary}"]
    parts += [f"## {name}\n\n" + "\n".join(lines) for name, lines in sections.items()]
    (Path(app.outdir) / "llms.txt").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def setup(app):
    """Register what is above."""
    app.connect("missing-reference", link_elsewhere)
    app.connect("build-finished", write_llms_txt)
