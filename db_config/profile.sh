# Source it before hemiec, lpad, rlaunch and qlaunch; every batch job does. It holds no secret.
export PATH=ENVIRONMENT_FOLDER/bin:"$PATH"  # as good as activating it; right for venv and conda
export HEMIEC_CONFIG_FILE=CONFIG_FOLDER/hemiec.yaml
export FW_CONFIG_FILE=CONFIG_FOLDER/FW_config.yaml
export JOBFLOW_CONFIG_FILE=CONFIG_FOLDER/jobflow.yaml
export JFREMOTE_PROJECTS_FOLDER=CONFIG_FOLDER/REMOTE_FOLDER JFREMOTE_PROJECT=hemiec
# The files decide; batch systems would hand the password on with the environment of the shell that submits.
unset HEMIEC_MONGO_URI HEMIEC_DATABASE
