"""Images with labels, in every form that people hold them in, and the networks around them."""
