# A snapshot of every node, every night, sent by the node itself.
#
#   nomad job run -var upload=https://store.example.net/netdiag/ netdiag.nomad.hcl
#
# An Authorization header for the upload is read from the Nomad variable nomad/jobs/netdiag-collect, key authorization.
# raw_exec, because the host itself is what is looked at: its network and mount namespace.

variable "upload" {
  type        = string
  description = "Where to send the snapshots; ends with a slash."
}

variable "netdiag" {
  type    = string
  default = "/usr/local/bin/netdiag"
}

variable "jitter" {
  type        = number
  default     = 900
  description = "Seconds over which the nodes spread."
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

job "netdiag-collect" {
  type        = "sysbatch"
  datacenters = var.datacenters
  node_pool   = "all"

  periodic {
    cron             = "17 2 * * *"
    time_zone        = "UTC"
    prohibit_overlap = true
  }

  group "collect" {
    restart {
      attempts = 2
      interval = "30m"
      delay    = "60s"
      mode     = "fail"
    }

    task "collect" {
      driver = "raw_exec"
      user   = "root"

      config {
        command = var.netdiag
        args = [
          "collect",
          "-o", var.upload,
          "--jitter", "${var.jitter}",
          "--hostname", "${node.unique.name}",
        ]
      }

      template {
        destination = "secrets/upload.env"
        env         = true
        data        = <<-EOT
          {{ with nomadVar "nomad/jobs/netdiag-collect" }}NETDIAG_UPLOAD_AUTHORIZATION={{ .authorization }}{{ end }}
        EOT
      }

      resources {
        cpu    = 200
        memory = 512
      }
    }
  }
}
