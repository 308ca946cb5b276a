"""${message}"""

from rowcall.migrate.files import run_files

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_files()


def downgrade() -> None:
    run_files()
