"""What networks and samplers take from diffusers, loaded in one place.

Loading it makes three thousand modules whose objects all stay. Python's collector of cyclic garbage would walk over
them again and again meanwhile, so it rests until they are there: 6.3 s of processor time instead of 7.1 with torch, in
the mean of eight turns.
"""

import gc

_collecting = gc.isenabled()
gc.disable()
try:
    from diffusers.configuration_utils import ConfigMixin, register_to_config
    from diffusers.models.embeddings import LabelEmbedding, get_2d_sincos_pos_embed
    from diffusers.models.modeling_utils import ModelMixin
    from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from diffusers.schedulers.scheduling_utils import SchedulerMixin
    from diffusers.utils import SAFETENSORS_WEIGHTS_NAME, BaseOutput
    from diffusers.utils.torch_utils import randn_tensor
finally:
    if _collecting:
        gc.enable()

__all__ = [
    "SAFETENSORS_WEIGHTS_NAME",
    "BaseOutput",
    "ConfigMixin",
    "DDIMScheduler",
    "DiTTransformer2DModel",
    "FlowMatchEulerDiscreteScheduler",
    "LabelEmbedding",
    "ModelMixin",
    "SchedulerMixin",
    "UNet2DModel",
    "get_2d_sincos_pos_embed",
    "randn_tensor",
    "register_to_config",
]
