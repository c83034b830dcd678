"""S3 with boto3: buckets, objects, listings, uploads in parts, copies, tags, presigned addresses, streamed bodies."""

import base64
import contextlib
import datetime
import hashlib
import http.client
import io
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib

import boto3
import botocore.config
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from kit import client, endpoint, equal, name, refused

MIB = 1024 * 1024


@contextlib.contextmanager
def bucket(s3=None):
    s3 = s3 or client("s3")
    made = name("b")
    s3.create_bucket(Bucket=made)
    try:
        yield s3, made
    finally:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=made):
            for found in page.get("Contents", []):
                s3.delete_object(Bucket=made, Key=found["Key"])
        s3.delete_bucket(Bucket=made)


def crc32(content):
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def test_buckets_are_made_listed_and_removed():
    s3 = client("s3")
    with bucket(s3) as (_, made):
        equal(s3.head_bucket(Bucket=made)["BucketRegion"], os.environ["AWS_DEFAULT_REGION"])
        assert made in [found["Name"] for found in s3.list_buckets()["Buckets"]]
        equal(s3.list_buckets(Prefix=made)["Buckets"][0]["Name"], made)
        equal(s3.get_bucket_location(Bucket=made)["LocationConstraint"], None)
        equal("Status" in s3.get_bucket_versioning(Bucket=made), False)
        with refused("NotImplemented", 501):
            s3.put_bucket_versioning(Bucket=made, VersioningConfiguration={"Status": "Enabled"})
        with refused("BucketAlreadyOwnedByYou", 409):
            s3.create_bucket(Bucket=made)
        s3.put_bucket_tagging(Bucket=made, Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]})
        equal(s3.get_bucket_tagging(Bucket=made)["TagSet"], [{"Key": "team", "Value": "blue"}])
        s3.put_object(Bucket=made, Key="k", Body=b"x")
        with refused("BucketNotEmpty", 409):
            s3.delete_bucket(Bucket=made)
        with refused("NoSuchBucketPolicy", 404):
            s3.get_bucket_policy(Bucket=made)
        equal(s3.get_bucket_acl(Bucket=made)["Grants"][0]["Permission"], "FULL_CONTROL")
    with refused("404", 404):
        s3.head_bucket(Bucket=made)
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket=made)
    with refused("InvalidBucketName", 400):
        client("s3", config=botocore.config.Config(parameter_validation=False)).create_bucket(Bucket="Not_A_Bucket")
    west = client("s3", region_name="eu-west-1")
    there = name("b")
    west.create_bucket(Bucket=there, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    equal(west.get_bucket_location(Bucket=there)["LocationConstraint"], "eu-west-1")
    west.delete_bucket(Bucket=there)


def test_objects_are_stored_and_read():
    with bucket() as (s3, made):
        content = os.urandom(300_000)
        put = s3.put_object(
            Bucket=made,
            Key="dir/a file+ü.bin",
            Body=content,
            ContentType="image/png",
            CacheControl="no-cache",
            Metadata={"color": "blue"},
            Tagging="a=1&b=2",
        )
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        equal((put["ETag"], put["ChecksumCRC32"]), (tag, crc32(content)))
        got = s3.get_object(Bucket=made, Key="dir/a file+ü.bin")
        equal(got["Body"].read(), content)
        found = (got["ETag"], got["ContentType"], got["CacheControl"], got["Metadata"], got["TagCount"])
        equal(found, (tag, "image/png", "no-cache", {"color": "blue"}, 2))
        equal(got["ChecksumCRC32"], crc32(content))
        head = s3.head_object(Bucket=made, Key="dir/a file+ü.bin")
        equal((head["ContentLength"], head["ETag"]), (300_000, tag))
        assert abs((datetime.datetime.now(datetime.UTC) - head["LastModified"]).total_seconds()) < 60
        s3.put_object(Bucket=made, Key="empty")
        empty = s3.get_object(Bucket=made, Key="empty")
        equal((empty["Body"].read(), empty["ContentLength"], empty["ETag"]), (b"", 0, '"d41d8cd98f00b204e9800998ecf8427e"'))
        for _ in range(2):
            s3.delete_object(Bucket=made, Key="empty")
        with refused("NoSuchKey", 404, "The specified key does not exist."):
            s3.get_object(Bucket=made, Key="empty")
        with refused("404", 404):
            s3.head_object(Bucket=made, Key="empty")
        attributes = s3.get_object_attributes(
            Bucket=made, Key="dir/a file+ü.bin", ObjectAttributes=["ETag", "ObjectSize", "Checksum"]
        )
        equal((attributes["ObjectSize"], attributes["Checksum"]["ChecksumCRC32"]), (300_000, crc32(content)))


def test_stretches_and_conditions():
    with bucket() as (s3, made):
        content = bytes(range(256)) * 4
        tag = s3.put_object(Bucket=made, Key="k", Body=content)["ETag"]
        for text, expected in [("bytes=0-9", content[:10]), ("bytes=1000-", content[1000:]), ("bytes=-5", content[-5:])]:
            got = s3.get_object(Bucket=made, Key="k", Range=text)
            equal((got["Body"].read(), got["ResponseMetadata"]["HTTPStatusCode"]), (expected, 206))
        equal(s3.get_object(Bucket=made, Key="k", Range="bytes=10-19")["ContentRange"], "bytes 10-19/1024")
        with refused("InvalidRange", 416):
            s3.get_object(Bucket=made, Key="k", Range="bytes=5000-")
        equal(s3.get_object(Bucket=made, Key="k", IfMatch=tag)["ETag"], tag)
        with refused("PreconditionFailed", 412):
            s3.get_object(Bucket=made, Key="k", IfMatch='"other"')
        with refused("304", 304):
            s3.get_object(Bucket=made, Key="k", IfNoneMatch=tag)
        with refused("304", 304):
            s3.head_object(Bucket=made, Key="k", IfModifiedSince=datetime.datetime.now(datetime.UTC))
        with refused("PreconditionFailed", 412):
            s3.put_object(Bucket=made, Key="k", Body=b"y", IfNoneMatch="*")
        with refused("PreconditionFailed", 412):
            s3.put_object(Bucket=made, Key="k", Body=b"y", IfMatch='"other"')
        s3.put_object(Bucket=made, Key="k", Body=b"y", IfMatch=tag)
        equal(s3.get_object(Bucket=made, Key="k")["Body"].read(), b"y")
        with refused("BadDigest", 400):
            s3.put_object(Bucket=made, Key="k", Body=b"z", ContentMD5=base64.b64encode(b"0" * 16).decode())
        with refused("BadDigest", 400):
            s3.put_object(Bucket=made, Key="k", Body=b"z", ChecksumSHA256=base64.b64encode(b"0" * 32).decode())
        equal(s3.get_object(Bucket=made, Key="k")["Body"].read(), b"y")


def test_only_one_of_many_writers_finds_nothing():
    with bucket() as (s3, made):
        done = []

        def write(number):
            with contextlib.suppress(s3.exceptions.ClientError):
                s3.put_object(Bucket=made, Key="k", Body=str(number).encode(), IfNoneMatch="*")
                done.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        equal(len(done), 1)
        equal(s3.get_object(Bucket=made, Key="k")["Body"].read(), str(done[0]).encode())


def test_listings():
    with bucket() as (s3, made):
        keys = [f"a/{number:03}" for number in range(25)] + ["b", "c/d/e", "c/f", "c g", "ü", "z+1"]
        for key in keys:
            s3.put_object(Bucket=made, Key=key, Body=b"12345")
        ordered = sorted(keys, key=str.encode)
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=made, PaginationConfig={"PageSize": 7}))
        equal([found["Key"] for page in pages for found in page["Contents"]], ordered)
        equal([page["KeyCount"] for page in pages], [7, 7, 7, 7, 3])
        pages = s3.get_paginator("list_objects").paginate(Bucket=made, PaginationConfig={"PageSize": 4})
        equal([found["Key"] for page in pages for found in page["Contents"]], ordered)
        top = s3.list_objects_v2(Bucket=made, Delimiter="/")
        equal([found["Key"] for found in top["Contents"]], ["b", "c g", "z+1", "ü"])
        equal([found["Prefix"] for found in top["CommonPrefixes"]], ["a/", "c/"])
        below = s3.list_objects_v2(Bucket=made, Delimiter="/", Prefix="c/")
        equal([found["Key"] for found in below["Contents"]], ["c/f"])
        equal([found["Prefix"] for found in below["CommonPrefixes"]], ["c/d/"])
        for size in (1, 2, 3):
            lines = []
            for kind in ("list_objects_v2", "list_objects"):
                found = s3.get_paginator(kind).paginate(Bucket=made, Delimiter="/", PaginationConfig={"PageSize": size})
                lines.append(
                    [
                        line
                        for page in found
                        for line in [one["Key"] for one in page.get("Contents", [])]
                        + [one["Prefix"] for one in page.get("CommonPrefixes", [])]
                    ]
                )
            equal([sorted(one) for one in lines], [sorted(["a/", "b", "c g", "c/", "z+1", "ü"])] * 2)
        after = s3.list_objects_v2(Bucket=made, StartAfter="c/f", FetchOwner=True)
        equal([found["Key"] for found in after["Contents"]], ["z+1", "ü"])
        assert after["Contents"][0]["Owner"]["ID"]
        equal(s3.list_objects_v2(Bucket=made, MaxKeys=0)["IsTruncated"], False)
        versions = s3.list_object_versions(Bucket=made, Prefix="b")["Versions"]
        equal([(found["Key"], found["VersionId"], found["IsLatest"]) for found in versions], [("b", "null", True)])
        wanted = [{"Key": key} for key in keys] + [{"Key": "not there"}]
        gone = s3.delete_objects(Bucket=made, Delete={"Objects": wanted})
        equal((len(gone["Deleted"]), "Errors" in gone), (len(wanted), False))
        equal(s3.list_objects_v2(Bucket=made)["KeyCount"], 0)


def test_uploads_in_parts():
    with bucket() as (s3, made):
        parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), os.urandom(1234)]
        upload = s3.create_multipart_upload(Bucket=made, Key="k", ContentType="text/x", Metadata={"a": "b"})["UploadId"]
        tags = {}
        # Out of order, one of them twice.
        for number in (3, 1, 2, 2):
            answer = s3.upload_part(Bucket=made, Key="k", UploadId=upload, PartNumber=number, Body=parts[number - 1])
            tags[number] = answer["ETag"]
        listed = s3.list_parts(Bucket=made, Key="k", UploadId=upload, MaxParts=2)
        equal([found["PartNumber"] for found in listed["Parts"]], [1, 2])
        equal((listed["IsTruncated"], listed["NextPartNumberMarker"]), (True, 2))
        equal([found["UploadId"] for found in s3.list_multipart_uploads(Bucket=made)["Uploads"]], [upload])
        with refused("NoSuchKey", 404):
            s3.get_object(Bucket=made, Key="k")
        named = [{"PartNumber": number, "ETag": tags[number]} for number in (1, 2, 3)]
        with refused("InvalidPartOrder", 400):
            s3.complete_multipart_upload(Bucket=made, Key="k", UploadId=upload, MultipartUpload={"Parts": named[::-1]})
        with refused("InvalidPart", 400):
            wrong = [{"PartNumber": 1, "ETag": '"0"'}]
            s3.complete_multipart_upload(Bucket=made, Key="k", UploadId=upload, MultipartUpload={"Parts": wrong})
        with refused("EntityTooSmall", 400):
            small = [{"PartNumber": 1, "ETag": s3.upload_part(
                Bucket=made, Key="k", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]}, named[1]]
            s3.complete_multipart_upload(Bucket=made, Key="k", UploadId=upload, MultipartUpload={"Parts": small})
        s3.upload_part(Bucket=made, Key="k", UploadId=upload, PartNumber=1, Body=parts[0])
        done = s3.complete_multipart_upload(Bucket=made, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
        joined = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        equal(done["ETag"], f'"{joined}-3"')
        got = s3.get_object(Bucket=made, Key="k")
        equal(got["Body"].read(), b"".join(parts))
        equal((got["ContentType"], got["Metadata"]), ("text/x", {"a": "b"}))
        across = s3.get_object(Bucket=made, Key="k", Range=f"bytes={5 * MIB - 10}-{5 * MIB + 9}")["Body"].read()
        equal(across, parts[0][-10:] + parts[1][:10])
        equal(s3.get_object(Bucket=made, Key="k", PartNumber=3)["Body"].read(), parts[2])
        with refused("NoSuchUpload", 404):
            s3.list_parts(Bucket=made, Key="k", UploadId=upload)
        upload = s3.create_multipart_upload(Bucket=made, Key="k")["UploadId"]
        copied = s3.upload_part_copy(
            Bucket=made, Key="k2", UploadId=s3.create_multipart_upload(Bucket=made, Key="k2")["UploadId"], PartNumber=1,
            CopySource={"Bucket": made, "Key": "k"}, CopySourceRange="bytes=10-5242899",
        )
        equal(copied["CopyPartResult"]["ETag"], f'"{hashlib.md5(b"".join(parts)[10:5242900]).hexdigest()}"')
        s3.abort_multipart_upload(Bucket=made, Key="k", UploadId=upload)
        with refused("NoSuchUpload", 404):
            s3.abort_multipart_upload(Bucket=made, Key="k", UploadId=upload)
        left = s3.list_multipart_uploads(Bucket=made)["Uploads"]
        equal([found["Key"] for found in left], ["k2"])
        s3.complete_multipart_upload(
            Bucket=made, Key="k2", UploadId=left[0]["UploadId"],
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]},
        )
        equal(s3.get_object(Bucket=made, Key="k2")["Body"].read(), b"".join(parts)[10:5242900])


def test_transfers_of_boto3():
    with bucket() as (s3, made):
        content = os.urandom(18 * MIB + 77)
        chunks = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
        s3.upload_fileobj(io.BytesIO(content), made, "big", Config=chunks, ExtraArgs={"ContentType": "a/b"})
        into = io.BytesIO()
        s3.download_fileobj(made, "big", into, Config=chunks)
        equal(hashlib.sha256(into.getvalue()).digest(), hashlib.sha256(content).digest())
        assert s3.head_object(Bucket=made, Key="big")["ETag"].endswith('-4"')
        s3.copy({"Bucket": made, "Key": "big"}, made, "again", Config=chunks)
        equal(s3.get_object(Bucket=made, Key="again")["Body"].read(), content)
        # An algorithm whose sum is one of all bytes.
        whole = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
        s3.upload_fileobj(io.BytesIO(content), made, "whole", Config=chunks, ExtraArgs=whole)
        head = s3.head_object(Bucket=made, Key="whole", ChecksumMode="ENABLED")
        equal((head["ChecksumType"], head["ChecksumCRC32"]), ("FULL_OBJECT", crc32(content)))


def test_copies():
    with bucket() as (s3, made), bucket(s3) as (_, other):
        source = {"Bucket": made, "Key": "a/ü b"}
        tag = s3.put_object(Body=b"content", Metadata={"x": "1"}, ContentType="t/1", Tagging="k=v", **source)["ETag"]
        equal(s3.copy_object(Bucket=other, Key="copy", CopySource=source)["CopyObjectResult"]["ETag"], tag)
        got = s3.get_object(Bucket=other, Key="copy")
        equal((got["Body"].read(), got["Metadata"], got["ContentType"]), (b"content", {"x": "1"}, "t/1"))
        equal(s3.get_object_tagging(Bucket=other, Key="copy")["TagSet"], [{"Key": "k", "Value": "v"}])
        s3.copy_object(
            Bucket=other, Key="copy", CopySource=source, MetadataDirective="REPLACE", Metadata={"y": "2"},
            TaggingDirective="REPLACE", Tagging="n=m",
        )
        equal(s3.head_object(Bucket=other, Key="copy")["Metadata"], {"y": "2"})
        equal(s3.get_object_tagging(Bucket=other, Key="copy")["TagSet"], [{"Key": "n", "Value": "m"}])
        with refused("InvalidRequest", 400):
            s3.copy_object(CopySource=source, **source)
        s3.copy_object(CopySource=source, MetadataDirective="REPLACE", Metadata={"z": "3"}, **source)
        equal(s3.get_object(**source)["Metadata"], {"z": "3"})
        with refused("PreconditionFailed", 412):
            s3.copy_object(Bucket=other, Key="copy", CopySource=source, CopySourceIfMatch='"other"')
        with refused("NoSuchKey", 404):
            s3.copy_object(Bucket=other, Key="copy", CopySource={"Bucket": made, "Key": "not there"})
        # The copy has its bytes, whatever becomes of the source.
        s3.delete_object(**source)
        equal(s3.get_object(Bucket=other, Key="copy")["Body"].read(), b"content")


def test_tags():
    with bucket() as (s3, made):
        s3.put_object(Bucket=made, Key="k", Body=b"x")
        tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
        s3.put_object_tagging(Bucket=made, Key="k", Tagging={"TagSet": tags})
        equal(s3.get_object_tagging(Bucket=made, Key="k")["TagSet"], tags)
        s3.delete_object_tagging(Bucket=made, Key="k")
        equal(s3.get_object_tagging(Bucket=made, Key="k")["TagSet"], [])
        with refused("BadRequest", 400):
            many = [{"Key": str(number), "Value": ""} for number in range(11)]
            s3.put_object_tagging(Bucket=made, Key="k", Tagging={"TagSet": many})


def test_presigned_addresses():
    new, old = (botocore.config.Config(signature_version=version) for version in ("s3v4", "s3"))
    for signer in (client("s3", config=new), client("s3", config=old)):
        presigned_addresses(signer)


def presigned_addresses(signer):
    with bucket() as (_, made):
        put = signer.generate_presigned_url("put_object", Params={"Bucket": made, "Key": "a/ b"}, ExpiresIn=60)
        # By hand: whatever sends a type of its own, which the older form signs, is refused.
        parts = urllib.parse.urlsplit(put)
        connection = http.client.HTTPConnection(parts.netloc)
        connection.request("PUT", f"{parts.path}?{parts.query}", body=b"presigned")
        equal(connection.getresponse().status, 200)
        get = signer.generate_presigned_url(
            "get_object", Params={"Bucket": made, "Key": "a/ b", "ResponseContentType": "x/y"}, ExpiresIn=60
        )
        with urllib.request.urlopen(get) as answer:
            equal((answer.read(), answer.headers["content-type"]), (b"presigned", "x/y"))
        other = made[:-1] + ("1" if made.endswith("0") else "0")
        for bad in (get.replace(made, other), get.replace("/a/", "/b/")):
            try:
                urllib.request.urlopen(bad)
                raise AssertionError("a changed address was good")
            except urllib.error.HTTPError as error:
                equal(error.code, 403)
                assert b"<Code>SignatureDoesNotMatch</Code>" in error.read()


def test_streamed_bodies_with_trailers():
    """What clients send whose bodies have no known sum: chunks, signed or not, with checksums behind them."""
    with bucket() as (s3, made):
        content = os.urandom(200_000)

        def chunked(payload, trailer):
            body = b""
            for at in range(0, len(payload), 65536):
                part = payload[at : at + 65536]
                body += f"{len(part):x}\r\n".encode() + part + b"\r\n"
            return body + b"0\r\n" + f"x-amz-checksum-crc32:{trailer}\r\n\r\n".encode()

        def send(trailer):
            session = boto3.session.Session()
            body = chunked(content, trailer)
            headers = {
                "content-encoding": "aws-chunked",
                "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                "x-amz-decoded-content-length": str(len(content)),
                "x-amz-trailer": "x-amz-checksum-crc32",
            }
            request = AWSRequest("PUT", f"{endpoint()}/{made}/k", data=body, headers=headers)

            class Signer(S3SigV4Auth):
                def payload(self, request):
                    return "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

            Signer(session.get_credentials(), "s3", session.region_name).add_auth(request)
            prepared = request.prepare()
            plain = urllib.request.Request(prepared.url, data=prepared.body, headers=dict(prepared.headers), method="PUT")
            try:
                with urllib.request.urlopen(plain) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        equal(send(crc32(content))[0], 200)
        got = s3.get_object(Bucket=made, Key="k")
        equal((got["Body"].read(), got["ChecksumCRC32"]), (content, crc32(content)))
        equal("ContentEncoding" in got, False)
        status, text = send(crc32(b"other"))
        assert status == 400 and b"BadDigest" in text, (status, text)


def test_keys_of_others_open_nothing():
    with bucket() as (s3, made):
        s3.put_object(Bucket=made, Key="k", Body=b"x")
        with refused("InvalidAccessKeyId", 403):
            client("s3", aws_access_key_id="AKIAAAAAAAAAAAAAAAAA", aws_secret_access_key="s").list_buckets()
        with refused("SignatureDoesNotMatch", 403):
            client("s3", aws_secret_access_key="s", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"]).get_object(
                Bucket=made, Key="k"
            )
        with refused("AccessDenied", 403):
            s3.get_object(Bucket=made, Key="k", ExpectedBucketOwner="999999999999")


def test_virtual_hosts():
    """The bucket as part of the host name, the connection to the endpoint."""
    with bucket() as (s3, made):
        s3.put_object(Bucket=made, Key="k", Body=b"x")
        session = boto3.session.Session()
        port = endpoint().rsplit(":", 1)[1]
        for host in (f"{made}.s3.localhost:{port}", f"{made}.localhost:{port}"):
            request = AWSRequest("GET", f"{endpoint()}/k", headers={"host": host})
            S3SigV4Auth(session.get_credentials(), "s3", session.region_name).add_auth(request)
            prepared = request.prepare()
            plain = urllib.request.Request(prepared.url, headers=dict(prepared.headers))
            with urllib.request.urlopen(plain) as answer:
                equal(answer.read(), b"x")
