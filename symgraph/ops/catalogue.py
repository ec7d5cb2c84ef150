"""Where each function and op is made; by `python -m symgraph.debug.catalogue`."""

from __future__ import annotations

FUNCTIONS = {
    "symgraph.ops.along_axis": "apply_along_axis",
    "symgraph.ops.arithmetic": (
        "abs abs_ absolute add add_ and_ around astype bitwise_and bitwise_invert "
        "bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor cast ceil clip "
        "copysign div divide divmod eq equal floor floor_div floor_divide floordiv fmod ge "
        "greater greater_equal gt int_div invert invert_bool isfinite isinf isnan le left_shift "
        "less less_equal logical_and logical_not logical_or logical_xor lt maximum minimum mod "
        "mul multiply nan_to_num ne neg negative neq not_equal or_ plus pow power reciprocal "
        "remainder right_shift rint round sgn sign sqr sqrt square sub subtract switch true_div "
        "true_divide trunc where xor"
    ),
    "symgraph.ops.associative": "associative_scan",
    "symgraph.ops.branch": "cond",
    "symgraph.ops.broadcast": "broadcast_to ones_like sum_to zeros_like",
    "symgraph.ops.calculus": (
        "convolve correlate cross diff ediff1d gradient inner ravel_multi_index trapezoid "
        "unravel_index unwrap vander"
    ),
    "symgraph.ops.complex": (
        "abs2 angle complex conj conjugate imag iscomplex isreal magnitude on_parts polar real "
        "unit view_as_complex view_as_real"
    ),
    "symgraph.ops.contract": "batched_dot dot matmul matvec outer tensordot vdot vecdot vecmat",
    "symgraph.ops.control": (
        "behind disconnected_grad grad_clip grad_scale last_state specify_shape stop_gradient "
        "undefined_grad zero_grad"
    ),
    "symgraph.ops.conv": "conv2d",
    "symgraph.ops.convolution": (
        "conv1d conv3d conv_transpose1d conv_transpose2d conv_transpose3d depthwise_conv2d"
    ),
    "symgraph.ops.create": (
        "arange diag diagonal eye full full_like iota linspace meshgrid ones trace tri tril triu "
        "zeros"
    ),
    "symgraph.ops.custom": "custom_jvp custom_vjp",
    "symgraph.ops.dft_real": "irdft rdft",
    "symgraph.ops.einsum": "einsum",
    "symgraph.ops.elementary": (
        "allclose array_equal bit_count bitwise_count deg2rad degrees fabs float_exponent "
        "float_power fmax fmin frexp gcd heaviside isclose isneginf isposinf lcm ldexp logaddexp2 "
        "modf nextafter positive rad2deg radians signbit spacing"
    ),
    "symgraph.ops.fourier": (
        "dft dft_by_tables fft2_pair fft_pair fftfreq fftn_pair fftshift ifft2_pair ifft_pair "
        "ifftn_pair ifftshift irfft_pair irfftn_pair rfft_pair rfftfreq rfftn_pair"
    ),
    "symgraph.ops.index": "getitem inc_subtensor set_subtensor with_final_row",
    "symgraph.ops.interpolate": "interpolate",
    "symgraph.ops.join": "concat concatenate repeat split stack tile",
    "symgraph.ops.layout": (
        "append array_split atleast_1d atleast_2d atleast_3d block block_diag broadcast_arrays "
        "choose column_stack delete diag_indices diagflat dsplit dstack empty empty_like "
        "fill_diagonal fix fliplr flipud geomspace hsplit hstack identity indices insert logspace "
        "piecewise resize rollaxis rot90 select tril_indices tril_indices_from triu_indices "
        "triu_indices_from unstack vsplit vstack"
    ),
    "symgraph.ops.linalg_eigen": "eigh eigvalsh invsqrtm sqrtm",
    "symgraph.ops.linalg_factored": "lu_factor lu_solve",
    "symgraph.ops.linalg_functions": (
        "condition_number expm kron matrix_norm matrix_power multi_dot norm tensorinv tensorsolve "
        "vector_norm"
    ),
    "symgraph.ops.linalg_general": "eig eigvals",
    "symgraph.ops.linalg_hessenberg": "hessenberg",
    "symgraph.ops.linalg_qr": "qr",
    "symgraph.ops.linalg_root": "root_by_products",
    "symgraph.ops.linalg_schur": "schur",
    "symgraph.ops.linalg_solve": "det inv lu slogdet solve",
    "symgraph.ops.linalg_structured": (
        "cho_factor cho_solve circulant expm_frechet hankel polar_factors solve_sylvester "
        "toeplitz"
    ),
    "symgraph.ops.linalg_svd": "lstsq matrix_rank pinv svd svdvals",
    "symgraph.ops.linalg_triangular": "cholesky solve_triangular",
    "symgraph.ops.loop": "results_of",
    "symgraph.ops.loop_derivative": "loop_pull_back loop_push_forward",
    "symgraph.ops.loop_unlimited": "unlimited_pull_back",
    "symgraph.ops.masks": "compress extract flatnonzero",
    "symgraph.ops.patches": "fold pixel_shuffle pixel_unshuffle unfold",
    "symgraph.ops.permute": "matrix_transpose moveaxis permute_dims swapaxes transpose",
    "symgraph.ops.polynomials": "polyadd polyder polyfit polyint polymul polysub polyval",
    "symgraph.ops.pool": "avg_pool2d max_pool2d",
    "symgraph.ops.pooling": (
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
        "adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool3d lp_pool1d lp_pool2d "
        "max_pool1d max_pool3d"
    ),
    "symgraph.ops.random": "gamma_level random_bits",
    "symgraph.ops.rearrange": "flip pad roll take take_along_axis",
    "symgraph.ops.reduce": (
        "all amax amin any argmax argmin count_nonzero max mean min prod std sum var"
    ),
    "symgraph.ops.reduce_window": "reduce_window",
    "symgraph.ops.reshape": "flatten ravel reshape",
    "symgraph.ops.rows": (
        "binary_cross_entropy cross_entropy log_softmax logsumexp one_hot softmax"
    ),
    "symgraph.ops.running": (
        "cummax cummin cumprod cumsum cumulative_prod cumulative_sum linear_recurrence "
        "logcumsumexp"
    ),
    "symgraph.ops.sampling": "affine_grid grid_sample",
    "symgraph.ops.scan": "foldl foldr map reduce scan",
    "symgraph.ops.scan_inputs": "until",
    "symgraph.ops.search": (
        "digitize histogram histogram2d histogram_bin_edges histogramdd interp isin searchsorted"
    ),
    "symgraph.ops.segment": (
        "bincount index_add index_put index_select masked_fill put_along_axis scatter_add "
        "scatter_max scatter_min scatter_prod segment_max segment_mean segment_min segment_prod "
        "segment_sum"
    ),
    "symgraph.ops.sets": "argwhere intersect1d ix_ nonzero roots setdiff1d setxor1d",
    "symgraph.ops.shape": "as_size broadcast_shapes_of dim_value shape size",
    "symgraph.ops.slices": "place slice_axis",
    "symgraph.ops.sorting": "argpartition argsort lexsort partition sort topk union1d unique",
    "symgraph.ops.special": (
        "beta beta_weight betaln digamma erfcinv erfcx erfinv gamma gammaln i0 i0e i1 i1e j0 j1 "
        "k0 k0e k1 k1e lgamma log_ndtr log_sigmoid logit ndtr ndtri poisson_weight polygamma sinc "
        "trigamma xlog1py xlogy y0 y1"
    ),
    "symgraph.ops.special_bessel_order": "bessel_jn jn",
    "symgraph.ops.special_composed": (
        "boxcox boxcox1p comb entr factorial gammasgn kl_div multigammaln rel_entr"
    ),
    "symgraph.ops.special_exponential": "exp1 expi expn",
    "symgraph.ops.special_faddeeva": "faddeeva_imag faddeeva_real voigt_profile wofz",
    "symgraph.ops.special_hypergeometric": "hyp1f1 hyp2f1",
    "symgraph.ops.special_incomplete": "betainc gammainc gammaincc",
    "symgraph.ops.special_integrals": "cosint dawsn fresnel fresnel_cos fresnel_sin sici sinint",
    "symgraph.ops.special_owen": "owens_t",
    "symgraph.ops.special_pochhammer": "poch",
    "symgraph.ops.special_series": "spence zeta",
    "symgraph.ops.statistics": (
        "average corrcoef cov median nanargmax nanargmin nancumprod nancumsum nanmax nanmean "
        "nanmedian nanmin nanpercentile nanprod nanquantile nanstd nansum nanvar percentile ptp "
        "quantile"
    ),
    "symgraph.ops.stft": "istft stft",
    "symgraph.ops.transcendental": (
        "acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 "
        "atanh cbrt cos cosh erf erfc exp exp2 expit expm1 hypot log log10 log1p log2 logaddexp "
        "relu sigmoid sin sinh softplus tan tanh"
    ),
    "symgraph.ops.unit_axes": "atleast_nd dimshuffle expand_dims squeeze",
    "symgraph.ops.vectorize": "vectorize",
    "symgraph.ops.vmap": "batched_loop vmap",
    "symgraph.ops.while_loop": "fori_loop while_loop",
    "symgraph.ops.windows": "bartlett blackman hamming hanning kaiser",
}
OPS = {
    "symgraph.ops.arithmetic": (
        "abs add bitwise_and bitwise_not bitwise_or bitwise_xor cast ceil copysign div eq floor "
        "floordiv fmod ge gt isfinite isinf isnan le left_shift logical_and logical_not "
        "logical_or logical_xor lt maximum minimum mod mul ne neg power reciprocal right_shift "
        "rint sign sqrt square sub trunc where"
    ),
    "symgraph.ops.broadcast": "broadcast_to sum_to",
    "symgraph.ops.chance": "chance",
    "symgraph.ops.contract": "matmul",
    "symgraph.ops.control": (
        "behind fits grad_clip last_state specify_shape stop_gradient undefined_grad"
    ),
    "symgraph.ops.conv": "conv2d conv2d_filter conv2d_input",
    "symgraph.ops.create": "iota",
    "symgraph.ops.dft": "dft",
    "symgraph.ops.dft_real": "irdft rdft",
    "symgraph.ops.elementary": "float_exponent nextafter",
    "symgraph.ops.gather": "gather scatter",
    "symgraph.ops.join": "concatenate",
    "symgraph.ops.linalg_cofactor": "cofactor_bend cofactor_rate cofactors",
    "symgraph.ops.linalg_diagonal": "pivots",
    "symgraph.ops.linalg_eigen": (
        "eigh_values eigh_vectors invsqrtm sqrtm symmetric_factor symmetric_sylvester"
    ),
    "symgraph.ops.linalg_functions": "expm",
    "symgraph.ops.linalg_general": "eig_factor eig_values eig_vectors",
    "symgraph.ops.linalg_hessenberg": "hessenberg_basis hessenberg_factor hessenberg_form",
    "symgraph.ops.linalg_qr": "qr_basis qr_complete qr_factor qr_q qr_r",
    "symgraph.ops.linalg_schur": "schur_factor schur_form schur_vectors",
    "symgraph.ops.linalg_solve": (
        "det det_sign inv log_abs_det lu_factor lu_lower lu_order lu_upper solve solve_positive"
    ),
    "symgraph.ops.linalg_svd": "lstsq pinv svd_factor svd_u svd_values svd_vh",
    "symgraph.ops.linalg_triangular": "cholesky solve_triangular",
    "symgraph.ops.permute": "permute_dims",
    "symgraph.ops.pool": "max_pool2d max_pool2d_grad max_pool2d_index sum_pool2d sum_pool2d_grad",
    "symgraph.ops.random": "gamma_level random_bits",
    "symgraph.ops.reduce": "all any argmax argmin max min prod sum",
    "symgraph.ops.reshape": "reshape",
    "symgraph.ops.rows": "cross_entropy_rows label log_softmax logsumexp softmax",
    "symgraph.ops.running": "cummax cummin cumprod cumsum linear_recurrence logcumsumexp",
    "symgraph.ops.search": "searchsorted",
    "symgraph.ops.segment": "scatter_reduce",
    "symgraph.ops.shape": "dim_value",
    "symgraph.ops.slices": "place set_slice slice",
    "symgraph.ops.sorting": "argsort argsort_first",
    "symgraph.ops.special": (
        "beta beta_weight betaln digamma erfcinv erfcx erfinv gamma gammaln i0 i0e i1 i1e j0 j1 "
        "k0 k0e k1 k1e log_ndtr logit ndtr ndtri poisson_weight polygamma sinc xlog1py xlogy y0 "
        "y1"
    ),
    "symgraph.ops.special_bessel_order": "jn",
    "symgraph.ops.special_exponential": "exp1 expi expn",
    "symgraph.ops.special_faddeeva": "faddeeva_imag faddeeva_real",
    "symgraph.ops.special_hypergeometric": "hyp1f1 hyp2f1",
    "symgraph.ops.special_incomplete": "betainc gammainc gammaincc",
    "symgraph.ops.special_integrals": "cosint dawsn fresnel_cos fresnel_sin sinint",
    "symgraph.ops.special_owen": "owens_t",
    "symgraph.ops.special_pochhammer": "poch",
    "symgraph.ops.transcendental": (
        "acos acosh asin asinh atan atan2 atanh cbrt cos cosh erf erfc exp exp2 expm1 hypot log "
        "log10 log1p log2 logaddexp relu sigmoid sin sinh softplus tan tanh"
    ),
    "symgraph.ops.unit_axes": "expand_dims squeeze",
}
