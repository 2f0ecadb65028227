"""The test files that take longest, by their processor time. A worker takes whole files, so these go
first; `make test-fast` leaves them out."""

LONGEST = """
    encoding/test_ray test_documents test_cranfield cluster/test_slurm training/test_trainer
    reproduction/test_mirror
    reproduction/test_reproduce model/test_onnx reproduction/test_export reproduction/test_mini
    encoding/test_resume commands/test_search lucene/test_build faults/test_index
    lucene/test_exactness reproduction/test_trained security/test_tokens test_outputs
    baselines/test_bm25 training/test_scoring baselines/test_dense model/test_hub
    faults/test_bad_corpora training/test_regularizers faults/test_broken_encodes fuzz/test_readers
    training/test_teachers faults/test_counted encoding/test_peers benchmarks/test_sections
    security/test_terminal model/test_layouts model/test_layout_matrix analysis/test_compare
    faults/test_flips
    serving/test_server_process serving/test_server_contract serving/test_server_answers
    serving/test_replaced_index
    training/test_mining lucene/test_java_25 lucene/test_unchanged commands/test_ends
    reproduction/test_baselines faults/test_model faults/test_paths faults/test_pipes
    faults/test_lack_of_memory commands/test_verify baselines/test_rerank diagnosis/test_diagnose
    model/test_architectures model/test_vocabularies
    analysis/test_breakdown analysis/test_explain analysis/test_flops analysis/test_plots
    api/test_api api/test_python_page serving/test_page_in_a_browser
""".split()
