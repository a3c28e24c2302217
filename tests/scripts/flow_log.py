"""Reads a flow log file with flowlogs-reader, as if it lay in S3, and prints its records as JSON."""

import gzip
import io
import json
import sys
from calendar import timegm

from flowlogs_reader import S3FlowLogsReader
from flowlogs_reader.flowlogs_reader import FlowRecord


class Bucket:
    def get_object(self, Bucket, Key):
        with open(Key.removesuffix(".gz"), "rb") as file:
            body = gzip.compress(file.read())
        return {"Body": io.BytesIO(body), "ContentLength": len(body)}


def plain(value):
    return timegm(value.utctimetuple()) if hasattr(value, "utctimetuple") else value


reader = S3FlowLogsReader("bucket", boto_client=Bucket())
records = [FlowRecord(line) for path in sys.argv[1:] for line in reader._read_file(path + ".gz")]
json.dump([{key: plain(value) for key, value in record.to_dict().items()} for record in records], sys.stdout)
