"""Rules about TCP, UDP and IP as sockets meet them."""
